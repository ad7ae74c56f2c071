-- name: key
select key_id, user_id, name, permissions, created_at, expires_at, last_used_at
from api_keys where key_hash = :key_hash and (expires_at is null or expires_at > :now);

-- name: key_by_id
select key_id, user_id, name, permissions, created_at, expires_at, last_used_at
from api_keys where key_id = :key_id and (expires_at is null or expires_at > :now);

-- name: keys
select key_id, user_id, name, permissions, created_at, expires_at, last_used_at
from api_keys where user_id = :user_id and (expires_at is null or expires_at > :now)
order by created_at, key_id;

-- name: count
select count(*) from api_keys where user_id = :user_id;

-- name: user
select 1 from users where user_id = :user_id;

-- name: add
insert into api_keys (key_id, user_id, name, key_hash, permissions, created_at, expires_at)
values (:key_id, :user_id, :name, :key_hash, :permissions, :now, :expires_at);

-- name: forget_expired
delete from api_keys where user_id = :user_id and expires_at <= :now;

-- name: used
update api_keys set last_used_at = :now where key_id = :key_id;

-- name: remove
delete from api_keys where user_id = :user_id and key_id = :key_id;
