-- name: steps
select step, kind, name, state, call_id, attempt, content from steps
where user_id = :user_id and run_id = :run_id order by step;

-- name: ledger
select step, kind, name, state, attempt, call_id from steps
where user_id = :user_id and run_id = :run_id order by started_at, step;
