-- What service-level figures are made of: of each run what it told and when, and what it used. No content.

alter table runs add column first_event_at integer;  -- its first durable event was stored
alter table runs add column started_at integer;  -- its agent began
alter table runs add column first_token_at integer;  -- the first text of an answer was shown
alter table runs add column parked_at integer;  -- since when it waits for a person
alter table runs add column waited_ms integer not null default 0;  -- how long it waited for people before
alter table runs add column own_wait integer not null default 0;  -- it first waited for its user's other runs
alter table runs add column told integer not null default 0;  -- what its own agent told: core/golden.py
alter table runs add column calls integer not null default 0;  -- tool calls that began, members' included
alter table runs add column calls_ended integer not null default 0;
alter table runs add column calls_failed integer not null default 0;
alter table runs add column ended_as text;  -- completed, cancelled, or the failure's code
alter table runs add column model text;  -- the one that was asked last
alter table runs add column used_input integer not null default 0;
alter table runs add column used_output integer not null default 0;
alter table runs add column used_requests integer not null default 0;
alter table runs add column used_cost integer;  -- billionths of a US dollar; null: not known

create index runs_ended on runs (ended_at) where ended_at is not null;

-- What they have told so far was told by an older version, which kept no count of it.
update runs set told = 3, started_at = created_at where ended_at is null and status <> 'queued';
