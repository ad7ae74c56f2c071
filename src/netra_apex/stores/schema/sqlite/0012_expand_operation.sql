-- What an operator sees of processes and of runs that wait for a person. Ids, numbers and times; nothing anybody said.

alter table runs add column waits_since integer;                         -- when the first that it waits for was asked
alter table runs add column approvals_open integer not null default 0;   -- as it was left waiting
alter table runs add column questions_open integer not null default 0;

alter table workers add column figures text;                        -- JSON: what the process says of itself
alter table workers add column draining integer not null default 0; -- it is asked to take no new work

create table incidents (
    incident_id text primary key,
    at          integer not null,
    kind        text not null check (kind in ('started', 'stopped', 'lost')),
    executor    text not null,
    runs        integer not null default 0   -- how many it had
) without rowid;
create index incidents_by_time on incidents (at desc, incident_id desc);
