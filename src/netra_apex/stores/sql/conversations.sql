-- name: threads
select thread_id, user_id, title, created_at, updated_at from threads
where user_id = :user_id
  and (updated_at, thread_id) < (:before, :before_id)
  and (cast(:query as text) is null or lower(title) like lower(:query) escape '\' or exists (
        select 1 from messages join runs using (user_id, run_id)
        where messages.user_id = threads.user_id and messages.thread_id = threads.thread_id
          and runs.replaced = 0 and lower(messages.content) like lower(:query) escape '\'))
order by updated_at desc, thread_id desc limit :limit;

-- name: thread
select thread_id, user_id, title, created_at, updated_at from threads
where user_id = :user_id and thread_id = :thread_id;

-- name: add_thread
insert into threads (user_id, thread_id, title, created_at, updated_at, titled)
values (:user_id, :thread_id, :title, :now, :now, :titled);

-- name: rename_thread
update threads set title = :title, titled = 2 where user_id = :user_id and thread_id = :thread_id;

-- name: claim_title
update threads set titled = 1 where user_id = :user_id and thread_id = :thread_id and titled = 0;

-- name: said_in_run
select role, content from messages where user_id = :user_id and run_id = :run_id order by ordinal;

-- name: put_title
update threads set title = :title, titled = 2 where user_id = :user_id and thread_id = :thread_id and titled = 1;

-- name: delete_thread
delete from threads where user_id = :user_id and thread_id = :thread_id;

-- name: thread_of
select thread_id, ended_at from runs where user_id = :user_id and run_id = :run_id;

-- name: delete_run
delete from runs where user_id = :user_id and run_id = :run_id;

-- name: delete_empty
delete from threads where user_id = :user_id and thread_id = :thread_id
  and not exists (select 1 from runs where runs.user_id = :user_id and runs.thread_id = :thread_id)
  and not exists (select 1 from files where files.user_id = :user_id and files.thread_id = :thread_id);

-- name: messages
select messages.message_id, messages.run_id, messages.role, messages.content, messages.created_at,
       messages.files, messages.position, messages.ordinal
from messages join runs using (user_id, run_id)
where messages.user_id = :user_id and messages.thread_id = :thread_id and runs.replaced = 0
  and (messages.position, messages.ordinal) > (:position, :ordinal)
order by messages.position, messages.ordinal limit :limit;

-- name: messages_newest_first
select messages.message_id, messages.run_id, messages.role, messages.content, messages.created_at,
       messages.files, messages.position, messages.ordinal
from messages join runs using (user_id, run_id)
where messages.user_id = :user_id and messages.thread_id = :thread_id and runs.replaced = 0
  and (messages.position, messages.ordinal) < (:position, :ordinal)
order by messages.position desc, messages.ordinal desc limit :limit;

-- name: unfinished
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at
from runs where user_id = :user_id and thread_id = :thread_id and ended_at is null order by position;
