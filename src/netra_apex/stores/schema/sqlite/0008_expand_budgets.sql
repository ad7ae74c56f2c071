-- What people use of models, and what is reserved for requests that are under way. Costs are billionths of a US dollar.

create table usage_by_day (
    user_id       text not null,
    day           text not null,              -- 2026-11-22, in UTC
    input_tokens  integer not null,
    output_tokens integer not null,
    requests      integer not null,
    cost          integer,                    -- null: no price is known of any of it
    primary key (user_id, day)
) without rowid;

-- Requests of unfinished runs, where there is a budget: reserved, then settled; a run that ends adds them to its days.
create table charges (
    user_id       text not null,
    run_id        text not null,
    step          text not null,              -- the request's, in the run's journal
    epoch         integer not null,           -- by whom it was reserved
    day           text not null,
    settled       integer not null default 0,
    shared        integer not null,           -- whether everybody's day counts it
    input_tokens  integer not null,
    output_tokens integer not null,
    requests      integer not null,
    cost          integer,
    primary key (user_id, run_id, step),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;

-- What everybody's day has come to, as parts to be added up, where there is a budget for it. It names nobody.
create table day_parts (
    day    text not null,
    id     text not null,
    tokens integer not null,
    cost   integer not null,
    primary key (day, id)
) without rowid;
