-- Makes a receiver, or changes one: what is null stays as it was.
create or replace function ourvidz.receiver_set(p_name text, p_url text default null, p_events text[] default null, p_secret_env text default null)
returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_constraint text;
begin
  if p_url is null and not exists (select from ourvidz.receivers where name = p_name) then
    raise exception 'There is no receiver "%".', left(p_name, 40) using errcode = 'OV018', hint = 'Give its URL to make it.';
  end if;
  insert into ourvidz.receivers as r (name, url, events, secret_env, created_at)
  values (p_name, coalesce(p_url, 'https://unused'), coalesce(p_events, '{completed,failed,cancelled}'),
          coalesce(p_secret_env, 'CALLBACK_SECRET'), ourvidz.now())
  on conflict (name) do update
  set url = coalesce(p_url, r.url), events = coalesce(p_events, r.events), secret_env = coalesce(p_secret_env, r.secret_env);
exception when check_violation then
  get stacked diagnostics v_constraint = constraint_name;
  raise exception '%', case v_constraint
      when 'receiver_url' then 'A receiver''s URL begins with https:// (http:// only for this machine itself), without a name or password in it.'
      when 'receiver_events' then 'A receiver hears of processing, completed, failed, cancelled: of one of them at least.'
      when 'receiver_secret' then 'A secret is named by its environment variable, in capitals: CALLBACK_SECRET.'
      else 'A receiver''s name has up to 40 small letters, digits and dashes.' end
    using errcode = 'OV009', column = replace(v_constraint, 'receiver_', '');
end
$$;
