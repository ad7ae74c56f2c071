-- name: credential
select content from credentials where user_id = :user_id and server = :server;

-- name: keep
insert into credentials (user_id, server, content, updated_at) values (:user_id, :server, :content, :now)
on conflict (user_id, server) do update set content = excluded.content, updated_at = excluded.updated_at;

-- name: drop
delete from credentials where user_id = :user_id and server = :server;
