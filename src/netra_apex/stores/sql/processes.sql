-- name: report
insert into workers (executor, room, started_at, seen_at, figures)
values (:executor, :room, :now, :now, :figures)
on conflict (executor) do update set figures = excluded.figures
returning draining;

-- name: asked
select draining from workers where executor = :executor;

-- name: known
select executor from workers;

-- name: forget
delete from workers where executor = :executor;

-- name: note
insert into incidents (incident_id, at, kind, executor, runs) values (:incident_id, :now, :kind, :executor, :runs);

-- name: tidy
delete from incidents where at < :long_ago;
