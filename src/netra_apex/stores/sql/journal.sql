-- name: claim
update runs set
  epoch = epoch + 1,
  recoveries = 1 + case when status = 'queued' or exists (
    select 1 from steps where steps.user_id = runs.user_id and steps.run_id = runs.run_id
                          and steps.epoch = runs.epoch and steps.state = 'finished'
  ) then 0 else recoveries end
where user_id = :user_id and run_id = :run_id and ended_at is null
returning epoch, recoveries, posted, permissions,
          (select content from messages
           where messages.user_id = runs.user_id and messages.run_id = runs.run_id and ordinal = 0);

-- name: steps
select step, kind, name, state, call_id, attempt, content from steps
where user_id = :user_id and run_id = :run_id order by step;

-- name: ledger
select step, kind, name, state, attempt, call_id from steps
where user_id = :user_id and run_id = :run_id order by started_at, step;
