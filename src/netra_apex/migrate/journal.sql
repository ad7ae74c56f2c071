create table if not exists runs (
    run_id integer primary key,
    began_at text not null,
    ended_at text,
    status text not null,
    settings text not null
);
create table if not exists units (
    run_id integer not null references runs,
    ordinal integer not null,
    ident text not null,
    phase text not null,
    state text not null,
    batch integer,
    code text not null default '',
    detail text not null default '',
    primary key (run_id, ordinal)
);
create table if not exists files (
    run_id integer not null references runs,
    ordinal integer not null,
    path text not null,
    before_sha text not null,
    after_sha text not null,
    edits text not null,
    primary key (run_id, path)
);
create table if not exists blobs (
    sha text primary key,
    data blob not null
);
create table if not exists refusals (
    run_id integer not null references runs,
    place integer not null,
    refusal text not null,
    primary key (run_id, place)
);
create table if not exists steps (
    at text not null,
    run_id integer not null references runs,
    ordinal integer not null,
    state text not null,
    code text not null default ''
);
create table if not exists validations (
    at text not null,
    run_id integer not null references runs,
    phase text not null,
    batch integer not null,
    outcome text not null,
    seconds real not null,
    passed integer not null,
    failed integer not null
);
create table if not exists commands (
    process integer not null,
    born text not null
);
