-- Locks names of one kind (ids, keys) until the transaction ends, in a fixed number of slots and in their order: two callers never wait for
-- each other's second. Rows of a table that nobody else may write, and no advisory locks, which any login can take and keep.
create or replace function ourvidz.lock_names(p_kind text, p_names text[]) returns void
language plpgsql
as $$
begin
  perform from ourvidz.locks
  where kind = p_kind and slot = any (array(select hashtext(name) & 1023 from unnest(p_names) as name))
  order by slot for update;
end
$$;
