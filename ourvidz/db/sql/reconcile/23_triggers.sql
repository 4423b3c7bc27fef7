-- Tries the project's own triggers on one of our tables, each alone on the copy, with our writes. One that refuses or changes them refuses
-- the migration, since only its author knows its purpose. Their effects elsewhere are undone.
create or replace function pg_temp.plan_triggers(p_relation text) returns void language plpgsql as $$
declare
  g record;
  t record;
  v_sample text;
begin
  for g in
    select tg.tgname as name, replace(pg_get_triggerdef(tg.oid), format(' ON public.%I ', p_relation), ' ON pg_temp.trial ') as definition
    from pg_trigger as tg join pg_proc as f on f.oid = tg.tgfoid
    where tg.tgrelid = to_regclass('public.' || p_relation) and not tg.tgisinternal and tg.tgenabled in ('O', 'A')
      and f.pronamespace is distinct from to_regnamespace('ourvidz')::oid
    order by tg.tgname
  loop
    execute g.definition;
    for v_sample in select sample from our_writes where relation = p_relation group by sample order by min(n) loop
      t := pg_temp.try_sample(p_relation, v_sample);
      if t.state is not null and t.verb <> 'row' then
        perform pg_temp.refuse(format('trigger %s on public.%s', g.name, p_relation), 'it does not let this program write: ' || t.message,
          format('drop trigger %I on public.%I, or let that write pass', g.name, p_relation));
        exit;
      end if;
    end loop;
    execute format('drop trigger %I on pg_temp.trial', g.name);
  end loop;
end
$$;
