-- name: ask
insert into questions (user_id, question_id, run_id, thread_id, call_id, text, asked_at, position, expires_at)
values (:user_id, :question_id, :run_id, :thread_id, :call_id, :text, :now, :position, :expires_at);

-- name: open
select question_id, run_id, thread_id, call_id, text, asked_at, expires_at, questions.position
from questions join runs using (user_id, run_id, thread_id)
where user_id = :user_id and closed_at is null and expires_at > :now and ended_at is null
  and (questions.position, question_id) > (:after, :after_id)
order by questions.position, question_id limit :limit;

-- name: question
select question_id, run_id, thread_id, call_id, text, asked_at, expires_at
from questions where user_id = :user_id and question_id = :question_id;

-- name: answer
update questions set content = :content, closed_at = :now
where user_id = :user_id and question_id = :question_id and closed_at is null and expires_at > :now;

-- name: tell
update questions set told = 1 where user_id = :user_id and question_id = :question_id;

-- name: give_up
update questions set closed_at = coalesce(closed_at, :now), told = 1
where user_id = :user_id and run_id = :run_id and call_id = :call_id and told = 0;

-- name: expire
update questions set closed_at = :now
where user_id = :user_id and run_id = :run_id and closed_at is null and expires_at <= :now;
