-- Publishes the tables that people watch. Rows pass row-level security on their way to a listener, with replica identity full, because
-- filters and policies are evaluated on the old row too. Uses our publication or Supabase's, where we may.
do $$
declare
  v_table text;
begin
  for v_table in select relname from pg_class where relnamespace = 'public'::regnamespace and relname in ('jobs', 'images', 'videos') and relreplident <> 'f'
  loop
    execute format('alter table public.%I replica identity full', v_table);
  end loop;
  for v_table in
    select name from unnest('{jobs,images,videos}'::text[]) as name
    where not exists (select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = name)
  loop
    execute format('alter publication supabase_realtime add table public.%I', v_table);
  end loop;
exception when insufficient_privilege or undefined_object then
  raise notice 'publication supabase_realtime is left as it is: %', sqlerrm;
end
$$;
