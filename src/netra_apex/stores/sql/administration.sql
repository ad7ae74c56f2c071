-- name: is_admin
select 1 from users where user_id = :user_id and disabled = 0 and permissions like '%"admin"%';

-- name: record
insert into audit (audit_id, at, actor, action, subject, run_id, details)
values (:audit_id, :now, :actor, :action, cast(:subject as text), cast(:run_id as text), :details);

-- name: users
select user_id, permissions, disabled, created_at from users where user_id > :after order by user_id limit :limit;

-- name: runs
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at
from runs
where (cast(:statuses as text) is null or :statuses like '%"' || status || '"%')
  and (created_at, run_id) < (:before, :before_id)
order by created_at desc, run_id desc limit :limit;

-- name: audit
select audit_id, at, actor, action, subject, run_id, details from audit
where (at, audit_id) < (:before, :before_id)
order by at desc, audit_id desc limit :limit;
