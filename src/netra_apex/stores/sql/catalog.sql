-- name: above
select rolsuper or rolbypassrls from pg_roles where rolname = session_user;

-- name: superuser
select rolsuper from pg_roles where rolname = session_user;

-- name: role
select rolcanlogin from pg_roles where rolname = $1;

-- name: schema
select coalesce(
    (select nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
     where pg_class.oid = to_regclass('schema_migrations')),
    current_schema());

-- name: may_upgrade
select case when to_regclass('schema_migrations') is null then has_schema_privilege(current_schema(), 'create')
       else (select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass('schema_migrations')) end;

-- name: is_there
select to_regclass('schema_migrations') is not null;

-- name: readable
select coalesce(has_table_privilege(to_regclass('schema_migrations'), 'select'), true);

-- name: make_migrations
create table schema_migrations (
    version    integer primary key,
    phase      text not null,
    name       text not null,
    applied_at timestamptz not null default now()
);

-- name: applied
select version, phase from schema_migrations order by version;

-- name: apply
insert into schema_migrations (version, phase, name) values ($1, $2, $3);

-- name: those_there
select name from unnest($1::text[]) as known (name) where to_regclass(name) is not null order by name;

-- name: not_allowed
select name, allowed from unnest($2::text[], $3::text[]) as wanted (name, allowed)
where not coalesce(has_table_privilege($1, to_regclass(name), allowed), false) limit 1;

-- What makes a role one that is held to more than rows of our tables, the plainest first.
-- name: more_than_rows
select 'is above row-level security' from pg_roles where rolname = $1 and (rolsuper or rolbypassrls)
union all
select 'may make and change roles' from pg_roles where rolname = $1 and rolcreaterole
union all
(select 'may act as ' || rolname || ', who is above row-level security' from pg_roles
 where (rolsuper or rolbypassrls) and pg_has_role($1, oid, 'member') order by rolname)
union all
(select 'owns the table ' || relname || ', or may act as who does' from pg_class
 where oid = any($2::text[]::regclass[]) and pg_has_role($1, relowner, 'member') order by relname)
union all
select 'owns the schema ' || nspname || ', or may act as who does' from pg_namespace
where nspname = $3 and pg_has_role($1, nspowner, 'member')
union all
select 'owns the database ' || datname || ', or may act as who does' from pg_database
where datname = current_database() and pg_has_role($1, datdba, 'member');

-- Tables of these that do not stand under row-level security as they should: not enabled, not forced on their owner,
-- or with a policy that lets something through without asking for whom.
-- name: unprotected
select relname from pg_class
where oid = any($1::text[]::regclass[]) and (
    not relrowsecurity or not relforcerowsecurity
    or not exists (select 1 from pg_policy where polrelid = pg_class.oid)
    or exists (
        select 1 from pg_policy where polrelid = pg_class.oid and polpermissive
        and coalesce(pg_get_expr(polqual, polrelid) || pg_get_expr(polwithcheck, polrelid),
                     pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), '')
            not like '%app.user_id%'))
order by relname;
