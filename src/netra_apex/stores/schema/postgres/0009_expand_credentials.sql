-- Users' credentials for MCP servers.

create table credentials (
    user_id    text collate "C" not null,
    server     text collate "C" not null,
    content    bytea not null,                -- sealed, for this user, this server and the place where it is
    updated_at bigint not null,
    primary key (user_id, server)
);

alter table credentials enable row level security;
alter table credentials force  row level security;
create policy owner on credentials using (user_id = nullif(current_setting('app.user_id', true), ''));
