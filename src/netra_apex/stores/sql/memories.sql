-- name: in_slot
select memory_id, slot, text, created_at from memories where user_id = :user_id and slot = :slot;

-- name: size
select count(*), coalesce(sum(length), 0) from memories where user_id = :user_id;

-- name: add
insert into memories (user_id, memory_id, slot, text, length, created_at)
values (:user_id, :memory_id, :slot, :text, :length, :now);

-- name: change
update memories set text = :text, length = :length, created_at = :now
where user_id = :user_id and memory_id = :memory_id;

-- name: add_word
insert into memory_words (user_id, word, memory_id, times) values (:user_id, :word, :memory_id, :times);

-- name: forget_words
delete from memory_words where user_id = :user_id and memory_id = :memory_id;

-- name: forget
delete from memories where user_id = :user_id and memory_id = :memory_id;

-- name: with_word
select memory_id, times, length from memory_words join memories using (user_id, memory_id)
where user_id = :user_id and word = :word;

-- name: memory
select memory_id, slot, text, created_at from memories where user_id = :user_id and memory_id = :memory_id;

-- name: all
select memory_id, slot, text, created_at from memories
where user_id = :user_id and (created_at, memory_id) < (:before, :before_id)
order by created_at desc, memory_id desc limit :limit;
