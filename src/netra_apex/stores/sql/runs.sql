-- name: repeated
select digest, thread_id, run_id, message_id,
       (select status from runs where runs.user_id = idempotency.user_id and runs.run_id = idempotency.run_id)
from idempotency where user_id = :user_id and scope = :scope and key = :key;

-- name: accepted
select position, message_id, executor,
       (select body from events where events.user_id = runs.user_id and events.run_id = runs.run_id and seq = 1)
from runs where user_id = :user_id and run_id = :run_id;

-- name: remember_key
insert into idempotency (user_id, scope, key, digest, thread_id, run_id, message_id, created_at)
values (:user_id, :scope, :key, :digest, :thread_id, :run_id, :message_id, :now);

-- name: thread_title
select title from threads where user_id = :user_id and thread_id = :thread_id;

-- name: position_of
select messages.position from messages join runs using (user_id, run_id)
where messages.user_id = :user_id and messages.thread_id = :thread_id and messages.message_id = :message_id
  and messages.ordinal = 0 and runs.replaced = 0;

-- name: replace_from
update runs set replaced = 1 where user_id = :user_id and thread_id = :thread_id and position >= :position;

-- name: add_thread
insert into threads (user_id, thread_id, title, created_at, updated_at, titled)
values (:user_id, :thread_id, :title, :now, :now, 0) on conflict do nothing;

-- name: add_opening
insert into openings (user_id, thread_id, body) values (:user_id, :thread_id, :body);

-- name: opening
select body from openings where user_id = :user_id and thread_id = :thread_id;

-- name: last_run
select run_id from runs where user_id = :user_id and thread_id = :thread_id and replaced = 0
order by position desc limit 1;

-- name: touch_thread
update threads set updated_at = :now, title = case when title = '' then :title else title end
where user_id = :user_id and thread_id = :thread_id;

-- name: next_position
select coalesce(max(position), 0) + 1 from runs where user_id = :user_id and thread_id = :thread_id;

-- name: add_run
insert into runs (user_id, run_id, thread_id, position, message_id, agent, status, last_seq, executor, created_at, posted,
                  permissions, first_event_at, own_wait, trace)
values (:user_id, :run_id, :thread_id, :position, :message_id, :agent, 'queued', :last_seq, :executor, :now, :posted,
        :permissions, :first_event_at, :own_wait, :trace);

-- name: keep_trace
update runs set trace = coalesce(trace, :trace), trace_last = :trace
where user_id = :user_id and run_id = :run_id and epoch = :epoch;

-- name: add_message
insert into messages (user_id, run_id, ordinal, message_id, thread_id, position, role, content, files, created_at)
values (:user_id, :run_id, 0, :message_id, :thread_id, :position, 'user', :content, :files, :now);

-- name: attachment
select file_id, name, media_type, size from files
where user_id = :user_id and thread_id = :thread_id and file_id = :file_id and complete = 1;

-- name: run_under_way
select run_id, status, permissions from runs where user_id = :user_id and thread_id = :thread_id and ended_at is null
order by position limit 1;

-- name: steer
update runs set steered = steered + 1 where user_id = :user_id and run_id = :run_id and ended_at is null;

-- name: add_steering
insert into messages (user_id, run_id, ordinal, message_id, thread_id, position, role, content, files, created_at)
select :user_id, :run_id, (select max(ordinal) + 1 from messages where user_id = :user_id and run_id = :run_id),
       :message_id, thread_id, position, 'user', :content, :files, :now
from runs where user_id = :user_id and run_id = :run_id;

-- name: steering
select ordinal, content, files from messages
where user_id = :user_id and run_id = :run_id and role = 'user' and ordinal > 0 and ordinal > :heard order by ordinal;

-- name: unheard
select messages.message_id, runs.agent, runs.permissions from messages join runs using (user_id, run_id)
where user_id = :user_id and run_id = :run_id and role = 'user' and ordinal > 0 and ordinal > heard and steered > 0
order by ordinal;

-- name: unheard_count
select count(*) from messages join runs using (user_id, run_id)
where user_id = :user_id and run_id = :run_id and role = 'user' and ordinal > 0 and ordinal > heard;

-- name: interrupt
update runs set cancel_by = coalesce(cancel_by, cast(:user_id as text))
where user_id = :user_id and thread_id = :thread_id and ended_at is null and position < :position;

-- name: give_run
update messages set run_id = :run_id, ordinal = 0, position = :position
where user_id = :user_id and message_id = :message_id;

-- name: add_answer
insert into messages (user_id, run_id, ordinal, message_id, thread_id, position, role, content, created_at)
select :user_id, :run_id, (select max(ordinal) + 1 from messages where user_id = :user_id and run_id = :run_id),
       :message_id, thread_id, position, 'assistant', :content, :now
from runs where user_id = :user_id and run_id = :run_id;

-- name: last_answer
select content from messages where user_id = :user_id and run_id = :run_id and role = 'assistant'
order by ordinal desc limit 1;

-- name: position
select position from runs where user_id = :user_id and run_id = :run_id and thread_id = :thread_id;

-- name: said_before
select messages.role, messages.content, messages.files, transcripts.body, messages.position, messages.ordinal
from messages
join runs using (user_id, run_id)
left join transcripts on transcripts.user_id = messages.user_id and transcripts.run_id = messages.run_id
     and messages.ordinal = 0
where messages.user_id = :user_id and messages.thread_id = :thread_id and runs.replaced = 0
  and (messages.position, messages.ordinal) < (:position, :ordinal)
order by messages.position desc, messages.ordinal desc limit :limit;

-- name: stands
select last_seq, ended_at, epoch from runs where user_id = :user_id and run_id = :run_id;

-- name: fence
update runs set last_seq = last_seq + :count, status = coalesce(cast(:status as text), status),
  heard = case when heard < :heard then :heard else heard end,
  first_event_at = coalesce(first_event_at, :now), started_at = coalesce(started_at, cast(:started_at as bigint)),
  first_token_at = coalesce(first_token_at, cast(:shown_at as bigint)),
  told = told | :told, calls = calls + :calls, calls_ended = calls_ended + :calls_ended,
  calls_failed = calls_failed + :calls_failed
where user_id = :user_id and run_id = :run_id and epoch = :epoch and ended_at is null and last_seq = :before;

-- name: fence_steps
update runs set last_seq = last_seq, heard = case when heard < :heard then :heard else heard end
where user_id = :user_id and run_id = :run_id and epoch = :epoch and ended_at is null;

-- name: fence_end
update runs set last_seq = last_seq + :count, status = :status, ended_at = :now, executor = null,
  heard = case when heard < :heard then :heard else heard end,
  first_event_at = coalesce(first_event_at, :now), started_at = coalesce(started_at, cast(:started_at as bigint)),
  first_token_at = coalesce(first_token_at, cast(:shown_at as bigint)),
  told = told | :told, calls = calls + :calls, calls_ended = calls_ended + :calls_ended,
  calls_failed = calls_failed + :calls_failed, ended_as = :ended_as, model = cast(:model as text),
  waited_ms = waited_ms + coalesce(:now - parked_at, 0), parked_at = null,
  used_input = :input_tokens, used_output = :output_tokens, used_requests = :requests,
  used_cost = cast(:cost as bigint)
where user_id = :user_id and run_id = :run_id and epoch = :epoch and ended_at is null and last_seq = :before
returning steered, agent, told, calls, calls_ended, calls_failed, created_at, first_event_at, started_at,
          first_token_at, waited_ms, own_wait;

-- name: add_event
insert into events (user_id, run_id, seq, body) values (:user_id, :run_id, :seq, :body);

-- name: touch
update threads set updated_at = :now where user_id = :user_id and thread_id = :thread_id;

-- name: keep_transcript
insert into transcripts (user_id, run_id, body) values (:user_id, :run_id, :body)
on conflict (user_id, run_id) do update set body = excluded.body;

-- name: run
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at
from runs where user_id = :user_id and run_id = :run_id;

-- name: runs_of
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at
from runs
where user_id = :user_id and run_id < :before and (cast(:thread_id as text) is null or thread_id = :thread_id)
  and (cast(:status as text) is null or status = :status) and coalesce(ended_at, created_at) >= :since
order by run_id desc limit :limit;

-- name: count_runs_of
select count(*) from runs
where user_id = :user_id and (cast(:thread_id as text) is null or thread_id = :thread_id)
  and (cast(:status as text) is null or status = :status) and coalesce(ended_at, created_at) >= :since;

-- name: any_run
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at
from runs where run_id = :run_id;

-- name: events
select seq, body from events where user_id = :user_id and run_id = :run_id and seq > :after order by seq limit :limit;

-- name: request_cancel
update runs set cancel_by = coalesce(cancel_by, cast(:by as text)) where run_id = :run_id and ended_at is null;

-- name: cancels_requested
select run_id, cancel_by from runs where ended_at is null and cancel_by is not null;

-- name: put_step
insert into steps (user_id, run_id, step, kind, name, state, call_id, attempt, epoch, content, started_at, ended_at)
values (:user_id, :run_id, :step, :kind, :name, :state, :call_id, :attempt, :epoch, :content, :now, :ended_at)
on conflict (user_id, run_id, step) do update set
  state = excluded.state, call_id = excluded.call_id, attempt = excluded.attempt, epoch = excluded.epoch,
  content = excluded.content, ended_at = excluded.ended_at;

-- name: to_prune
select user_id, run_id from runs where ended_at < :before and pruned = 0 order by ended_at limit :limit;

-- name: prune_events
delete from events where user_id = :user_id and run_id = :run_id;

-- name: prune_steps
delete from steps where user_id = :user_id and run_id = :run_id;

-- name: prune_approvals
delete from approvals where user_id = :user_id and run_id = :run_id;

-- name: prune_questions
delete from questions where user_id = :user_id and run_id = :run_id;

-- name: pruned
update runs set pruned = 1 where user_id = :user_id and run_id = :run_id;

-- name: all_runs
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at
from runs
where cast(:statuses as text) is null or :statuses like '%"' || status || '"%'
order by created_at desc, run_id desc limit :limit;
