-- Messages that a run is given while it is under way; and which ended runs have their events no longer.

alter table runs add column steered bigint not null default 0;   -- how many it was given
alter table runs add column heard bigint not null default 0;     -- the ordinal of the last one that it has taken in
alter table runs add column pruned integer not null default 0;   -- its events and its journal are gone
create index runs_to_prune on runs (ended_at) where ended_at is not null and pruned = 0;
