-- name: mark
with left_behind as (select token from commits where committed_at < :long_ago for update skip locked),
     settled as (delete from commits where token = any(:settled) or token in (select token from left_behind))
insert into commits (token, committed_at) values (:token, :now) returning pg_current_xact_id()::text;

-- name: under_way
select pg_xact_status(cast(cast(:xact as text) as xid8)) = 'in progress';

-- name: marked
select 1 from commits where token = :token;
