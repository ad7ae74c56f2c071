-- name: user
select user_id, permissions, disabled, created_at from users where user_id = :user_id;

-- name: users
select user_id, permissions, disabled, created_at from users order by user_id;

-- name: password_hash
select password_hash from users where user_id = :user_id and disabled = 0;

-- name: add_user
insert into users (user_id, password_hash, permissions, created_at)
values (:user_id, :password_hash, :permissions, :now);

-- name: set_password
update users set password_hash = :password_hash where user_id = :user_id;

-- name: set_disabled
update users set disabled = :disabled where user_id = :user_id;

-- name: has_admin
select exists (select 1 from users where disabled = 0 and permissions like '%"admin"%');

-- name: add_session
insert into sessions
    (session_id, user_id, cookie_hash, refresh_hash, previous_refresh_hash, rotated_at, created_at, expires_at)
values
    (:session_id, :user_id, :cookie_hash, :refresh_hash, :previous_refresh_hash, :rotated_at, :created_at, :expires_at);

-- name: session
select session_id, user_id, cookie_hash, refresh_hash, previous_refresh_hash, rotated_at, created_at, expires_at
from sessions where session_id = :session_id and expires_at > :now;

-- name: session_by_cookie
select session_id, user_id, cookie_hash, refresh_hash, previous_refresh_hash, rotated_at, created_at, expires_at
from sessions where cookie_hash = :cookie_hash and expires_at > :now;

-- name: session_by_refresh
select session_id, user_id, cookie_hash, refresh_hash, previous_refresh_hash, rotated_at, created_at, expires_at
from sessions
where expires_at > :now and session_id in (
    select session_id from sessions where refresh_hash = :refresh_hash
    union all select session_id from spent_tokens where refresh_hash = :refresh_hash);

-- name: spend
insert into spent_tokens (refresh_hash, user_id, session_id)
select cast(:old_hash as text), user_id, session_id from sessions where session_id = :session_id;

-- name: sessions_of
select session_id, user_id, cookie_hash, refresh_hash, previous_refresh_hash, rotated_at, created_at, expires_at
from sessions where user_id = :user_id and expires_at > :now order by created_at desc, session_id desc;

-- name: end_session_of
delete from sessions where user_id = :user_id and session_id = :session_id;

-- name: live_sessions
select session_id from sessions where expires_at > :now
union all
select key_id from api_keys join users using (user_id)
where users.disabled = 0 and (api_keys.expires_at is null or api_keys.expires_at > :now);

-- name: rotate
update sessions set previous_refresh_hash = refresh_hash, refresh_hash = :new_hash, rotated_at = :now
where session_id = :session_id and refresh_hash = :old_hash;

-- name: end_session
delete from sessions where session_id = :session_id;

-- name: end_sessions_of
delete from sessions where user_id = :user_id;

-- name: forget_expired_sessions
delete from sessions where expires_at <= :now;

-- name: put_setup_token
insert into setup_token (one, token_hash, expires_at) values (1, :token_hash, :expires_at)
on conflict (one) do update set token_hash = excluded.token_hash, expires_at = excluded.expires_at;

-- name: setup_token
select 1 from setup_token where token_hash = :token_hash and expires_at > :now;

-- name: void_setup_token
delete from setup_token;
