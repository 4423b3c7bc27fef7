-- Lists the expressions that convert a column of another type to ours; %s is the column. They are tried on the rows before anything is
-- planned: a row that cannot be converted refuses the migration, and so does a type that is not listed. 'enum' and 'domain' mean any one.
drop table if exists pg_temp.conversions cascade;
create temp table conversions (source text, target text, expression text);
insert into conversions values
  ('enum', 'text', '%s::text'), ('domain', 'text', '%s::text'), ('character', 'text', 'rtrim(%s::text)'), ('uuid', 'text', '%s::text'),
  ('integer', 'text', '%s::text'), ('bigint', 'text', '%s::text'), ('numeric', 'text', '%s::text'), ('name', 'text', '%s::text'),
  ('text', 'uuid', '%s::uuid'), ('character varying', 'uuid', '%s::uuid'),
  ('json', 'jsonb', '%s::jsonb'), ('text', 'jsonb', '%s::jsonb'), ('character varying', 'jsonb', '%s::jsonb'),
  ('text', 'text[]', 'string_to_array(nullif(regexp_replace(trim(%s), ''\s*,\s*'', '','', ''g''), ''''), '','')'),
  ('character varying', 'text[]', 'string_to_array(nullif(regexp_replace(trim(%s), ''\s*,\s*'', '','', ''g''), ''''), '','')'),
  ('timestamp without time zone', 'timestamp with time zone', '%s at time zone ''UTC'''),
  ('date', 'timestamp with time zone', '%s::timestamp at time zone ''UTC'''),
  ('text', 'timestamp with time zone', '%s::timestamptz'), ('character varying', 'timestamp with time zone', '%s::timestamptz'),
  ('text', 'boolean', '%s::boolean'), ('character varying', 'boolean', '%s::boolean'), ('integer', 'boolean', '%s <> 0'),
  ('smallint', 'boolean', '%s <> 0'), ('smallint', 'bigint', '%s::bigint'), ('smallint', 'integer', '%s::integer'),
  ('numeric', 'bigint', 'trunc(%s)::bigint'), ('double precision', 'bigint', 'trunc(%s)::bigint'), ('real', 'bigint', 'trunc(%s)::bigint'),
  ('text', 'bigint', '%s::bigint'), ('character varying', 'bigint', '%s::bigint'), ('text', 'integer', '%s::integer'),
  ('character varying', 'integer', '%s::integer'), ('numeric', 'integer', 'trunc(%s)::integer'), ('double precision', 'integer', 'trunc(%s)::integer'),
  ('bigint', 'integer', '%s::integer'), ('text', 'double precision', '%s::double precision'),
  ('character varying', 'double precision', '%s::double precision'),
  ('integer', 'numeric', '%s::numeric'), ('bigint', 'numeric', '%s::numeric'), ('smallint', 'numeric', '%s::numeric'),
  ('text', 'numeric', '%s::numeric'), ('character varying', 'numeric', '%s::numeric'),
  ('text', 'public.app_role', '%s::public.app_role'), ('character varying', 'public.app_role', '%s::public.app_role');
