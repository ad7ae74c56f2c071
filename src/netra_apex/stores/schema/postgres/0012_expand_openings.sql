-- What was said before a thread began, where that was elsewhere: a client's own history, or another thread's.

create table openings (
    user_id   text collate "C" not null,
    thread_id text collate "C" not null,
    body      text not null,                  -- JSON list of messages, redacted
    primary key (user_id, thread_id),
    foreign key (user_id, thread_id) references threads (user_id, thread_id) on delete cascade
);

alter table openings enable row level security;
alter table openings force  row level security;
create policy owner on openings using (user_id = nullif(current_setting('app.user_id', true), ''));
