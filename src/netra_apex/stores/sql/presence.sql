-- name: seen
with before as (select seen_at from workers where executor = :executor),
     told as (
       insert into workers (executor, room, secret, started_at, seen_at)
       values (:executor, :room, :secret, (extract(epoch from clock_timestamp()) * 1000)::bigint,
               (extract(epoch from clock_timestamp()) * 1000)::bigint)
       on conflict (executor) do update set seen_at = excluded.seen_at, room = excluded.room
       returning seen_at
     )
select coalesce(told.seen_at - before.seen_at, 1000000000),
       told.seen_at - (extract(epoch from pg_postmaster_start_time()) * 1000)::bigint
from told left join before on true;

-- name: strangers
select count(*) from workers
where executor <> :executor and secret <> :secret
  and seen_at >= (extract(epoch from clock_timestamp()) * 1000)::bigint - 1000;

-- name: forget
delete from workers where executor = :executor;

-- name: others
select executor, coalesce((extract(epoch from clock_timestamp()) * 1000)::bigint - seen_at, 1000000000)
from (select executor from workers
      union select executor from runs where executor is not null and ended_at is null) known
left join workers using (executor)
where executor <> :executor;

-- name: try_lock
select pg_try_advisory_xact_lock(hashtextextended('executor ' || :executor, 0));

-- name: lives
select 1 from workers
where executor = :executor and seen_at >= (extract(epoch from clock_timestamp()) * 1000)::bigint - :silent_ms;

-- name: leave_all
update runs set executor = null where executor = :executor and ended_at is null;
