-- A mark of each process's NETRA_SECRET_KEY, which must be the same for all that live.
alter table workers add column secret text;
