-- What people use of models, and what is reserved for requests that are under way. Costs are billionths of a US dollar.

create table usage_by_day (
    user_id       text collate "C" not null,
    day           text collate "C" not null,  -- 2026-11-22, in UTC
    input_tokens  bigint not null,
    output_tokens bigint not null,
    requests      bigint not null,
    cost          bigint,                     -- null: no price is known of any of it
    primary key (user_id, day)
);

-- Requests of unfinished runs, where there is a budget: reserved, then settled; a run that ends adds them to its days.
create table charges (
    user_id       text collate "C" not null,
    run_id        text collate "C" not null,
    step          text collate "C" not null,  -- the request's, in the run's journal
    epoch         bigint not null,            -- by whom it was reserved
    day           text collate "C" not null,
    settled       integer not null default 0,
    shared        integer not null,           -- whether everybody's day counts it
    input_tokens  bigint not null,
    output_tokens bigint not null,
    requests      bigint not null,
    cost          bigint,
    primary key (user_id, run_id, step),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
);

-- What everybody's day has come to, as parts to be added up, where there is a budget for it. It names nobody.
create table day_parts (
    day    text collate "C" not null,
    id     text collate "C" not null,
    tokens bigint not null,
    cost   bigint not null,
    primary key (day, id)
);

alter table usage_by_day enable row level security;
alter table usage_by_day force  row level security;
alter table charges      enable row level security;
alter table charges      force  row level security;
create policy owner on usage_by_day using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on charges      using (user_id = nullif(current_setting('app.user_id', true), ''));
