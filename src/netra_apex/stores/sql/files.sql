-- name: thread
select 1 from threads where user_id = :user_id and thread_id = :thread_id;

-- name: files
select file_id, thread_id, name, media_type, size, created_at from files
where user_id = :user_id and thread_id = :thread_id and complete = 1 and (created_at, file_id) > (:after, :after_id)
order by created_at, file_id limit :limit;

-- name: file
select file_id, thread_id, name, media_type, size, created_at from files
where user_id = :user_id and thread_id = :thread_id and file_id = :file_id and complete = 1;

-- name: abandoned
delete from files where user_id = :user_id and complete = 0 and (created_at < :long_ago or file_id = :file_id);

-- name: begin
insert into files (user_id, file_id, thread_id, name, media_type, created_at)
values (:user_id, :file_id, :thread_id, :name, :media_type, :now) on conflict do nothing;

-- name: count
select count(*) from files where user_id = :user_id and thread_id = :thread_id;

-- name: total
select cast(coalesce(sum(size), 0) as bigint) from files where user_id = :user_id and file_id <> :file_id;

-- name: grow
update files set size = :size where user_id = :user_id and file_id = :file_id and complete = 0;

-- name: add_chunk
insert into file_chunks (user_id, file_id, ordinal, data) values (:user_id, :file_id, :ordinal, :data)
on conflict do nothing;

-- name: complete
update files set complete = 1, created_at = :now
where user_id = :user_id and file_id = :file_id and complete = 0 and size = :size
  and (select count(*) from file_chunks
       where file_chunks.user_id = files.user_id and file_chunks.file_id = files.file_id) = :chunks;

-- name: chunk
select data from file_chunks join files using (user_id, file_id)
where user_id = :user_id and file_id = :file_id and ordinal = :ordinal and thread_id = :thread_id and complete = 1;

-- name: delete
delete from files where user_id = :user_id and thread_id = :thread_id and file_id = :file_id and complete = 1;

-- name: give_up
delete from files where user_id = :user_id and file_id = :file_id and complete = 0;
