-- What an operator sees of processes and of runs that wait for a person. Ids, numbers and times; nothing anybody said.

alter table runs add column waits_since bigint;                         -- when the first that it waits for was asked
alter table runs add column approvals_open bigint not null default 0;   -- as it was left waiting
alter table runs add column questions_open bigint not null default 0;

alter table workers add column figures text;                        -- JSON: what the process says of itself
alter table workers add column draining integer not null default 0; -- it is asked to take no new work

create table incidents (
    incident_id text collate "C" primary key,
    at          bigint not null,
    kind        text not null check (kind in ('started', 'stopped', 'lost')),
    executor    text collate "C" not null,
    runs        bigint not null default 0   -- how many it had
);
create index incidents_by_time on incidents (at desc, incident_id desc);
