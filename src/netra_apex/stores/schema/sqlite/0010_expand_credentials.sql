-- Users' credentials for MCP servers.

create table credentials (
    user_id    text not null,
    server     text not null,
    content    blob not null,                 -- sealed, for this user, this server and the place where it is
    updated_at integer not null,
    primary key (user_id, server)
) without rowid;
