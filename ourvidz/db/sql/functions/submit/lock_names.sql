-- Locks names of one kind (ids, keys) until the transaction ends: they hash to a fixed number of slots, locked in slot order, so two
-- callers cannot deadlock. The slots are rows of a table that nobody else may write; advisory locks could be taken and kept by any login.
create or replace function ourvidz.lock_names(p_kind text, p_names text[]) returns void
language plpgsql
as $$
begin
  perform from ourvidz.locks
  where kind = p_kind and slot = any (array(select hashtext(name) & 1023 from unnest(p_names) as name))
  order by slot for update;
end
$$;
