-- name: standing
select
  cast(coalesce(sum(case when run_id = :run_id then input_tokens + output_tokens else 0 end), 0) as bigint),
  cast(coalesce(sum(case when run_id = :run_id then cost else 0 end), 0) as bigint),
  cast(coalesce(sum(case when day = :day then input_tokens + output_tokens else 0 end), 0) as bigint),
  cast(coalesce(sum(case when day = :day then cost else 0 end), 0) as bigint)
from charges join runs using (user_id, run_id)
where user_id = :user_id and (settled = 1 or charges.epoch = runs.epoch) and not (run_id = :run_id and step = :step);

-- name: used
select input_tokens, output_tokens, requests, cost from usage_by_day where user_id = :user_id and day = :day;

-- name: under_way
select settled, cast(sum(input_tokens) as bigint), cast(sum(output_tokens) as bigint), cast(sum(requests) as bigint),
       cast(sum(cost) as bigint)
from charges join runs using (user_id, run_id)
where user_id = :user_id and day = :day and (settled = 1 or charges.epoch = runs.epoch)
group by settled;

-- name: reserved
select day, input_tokens + output_tokens, coalesce(cost, 0) from charges
where user_id = :user_id and run_id = :run_id and step = :step and settled = 0 and shared = 1;

-- name: reserve
insert into charges (user_id, run_id, step, epoch, day, settled, shared, input_tokens, output_tokens, requests, cost)
values (:user_id, :run_id, :step, :epoch, :day, 0, :shared, :input_tokens, :output_tokens, :requests, :cost)
on conflict (user_id, run_id, step) do update set
  epoch = excluded.epoch, day = excluded.day, settled = 0, shared = excluded.shared,
  input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, requests = excluded.requests,
  cost = excluded.cost;

-- name: settle
update charges set settled = 1, input_tokens = :input_tokens, output_tokens = :output_tokens, requests = :requests,
  cost = :cost
where user_id = :user_id and run_id = :run_id and step = :step and settled = 0;

-- name: of_run
select day, settled, shared, input_tokens, output_tokens, requests, cost from charges
where user_id = :user_id and run_id = :run_id;

-- name: forget
delete from charges where user_id = :user_id and run_id = :run_id;

-- name: add_usage
insert into usage_by_day (user_id, day, input_tokens, output_tokens, requests, cost)
values (:user_id, :day, :input_tokens, :output_tokens, :requests, :cost)
on conflict (user_id, day) do update set
  input_tokens = usage_by_day.input_tokens + excluded.input_tokens,
  output_tokens = usage_by_day.output_tokens + excluded.output_tokens,
  requests = usage_by_day.requests + excluded.requests,
  cost = case when usage_by_day.cost is null then excluded.cost
              else usage_by_day.cost + coalesce(excluded.cost, 0) end;

-- name: take_parts
delete from day_parts where day = :day returning tokens, cost;

-- name: add_part
insert into day_parts (day, id, tokens, cost) values (:day, :id, :tokens, :cost);

-- name: forget_parts
delete from day_parts where day < :before;
