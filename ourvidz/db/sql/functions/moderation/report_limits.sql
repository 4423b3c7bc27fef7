-- Returns the rule of a report's category. Refuses a report with parts that are missing or too long.
create or replace function ourvidz.report_checked(p jsonb) returns ourvidz.report_rules
language plpgsql stable
as $$
declare
  v_rule ourvidz.report_rules;
  v_bound record;
begin
  select * into v_rule from ourvidz.report_rules where name = p->>'category';
  if not found then
    raise exception 'category must be one of: %.', (select string_agg(name, ', ' order by deadline, name) from ourvidz.report_rules)
      using errcode = 'OV009', column = 'category';
  elsif p->>'id' is null then
    raise exception 'A report needs an id of its own.' using errcode = 'OV009', column = 'id';
  elsif p->>'source' ~ '^[0-9a-f]{64}$' is not true then
    raise exception 'source must be 64 hex digits.' using errcode = 'OV009', column = 'source';
  end if;
  for v_bound in select * from (values ('output', 500), ('contact', 254), ('signature', 200), ('said', 4000)) as b (name, longest) loop
    if length(p->>v_bound.name) > v_bound.longest then
      raise exception '% may have at most % characters.', v_bound.name, v_bound.longest using errcode = 'OV009', column = v_bound.name;
    end if;
  end loop;
  if coalesce(p->>'output', p->>'said', '') = '' then
    raise exception 'Say which output it is: its link or id, or where you saw it.' using errcode = 'OV009', column = 'output';
  end if;
  return v_rule;
end
$$;

-- Counts one more report of this source today, under the row's lock. The address's hash is hashed again with the day's salt, which is
-- deleted two days later. Refuses beyond the limits of ourvidz.policy and ourvidz.report_rules; a refused report does not count.
create or replace function ourvidz.report_counted(p_source text, p_rule ourvidz.report_rules) returns void
language plpgsql
as $$
declare
  v_day constant date := (ourvidz.now() at time zone 'UTC')::date;
  v_filed integer;
begin
  delete from ourvidz.report_salts where day < v_day - 1;
  delete from ourvidz.report_sources where day < v_day - 1;
  insert into ourvidz.report_sources as s (day, source, filed) values (v_day, ourvidz.report_source(p_source, v_day), 1)
  on conflict (day, source) do update set filed = s.filed + 1 returning filed into v_filed;
  if v_filed > (select reports_a_day from ourvidz.policy) then
    raise exception 'Too many reports from here today: try again tomorrow, or write to whoever runs this service.'
      using errcode = 'OV016', detail = 'Retry after 86400 s.';
  elsif (select count(*) from ourvidz.reports where category = p_rule.name and filed_at > (select ourvidz.now() - interval '1 hour')) >= p_rule.per_hour then
    raise exception 'Too many reports of this kind just now: try again in 3600 s.' using errcode = 'OV016', detail = 'Retry after 3600 s.';
  end if;
end
$$;

create or replace function ourvidz.report_may_hide(p_source text) returns boolean
language sql
as $$
  update ourvidz.report_sources as s set hides = s.hides + 1
  where s.day = (ourvidz.now() at time zone 'UTC')::date and s.source = ourvidz.report_source(p_source, s.day)
  returning s.hides <= (select report_hides_a_day from ourvidz.policy)
$$;

create or replace function ourvidz.report_source(p_source text, p_day date) returns text
language sql
as $$
  insert into ourvidz.report_salts (day, salt) values (p_day, ourvidz.salt()) on conflict (day) do nothing;
  select encode(sha256(salt || decode(p_source, 'hex')), 'hex') from ourvidz.report_salts where day = p_day
$$;
