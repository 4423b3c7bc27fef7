-- Checks whether Postgres could replace an object in place by another, created as a temporary one for this. Used only by `migrate --check`.
create or replace function pg_temp.same_shape(p_old oid, p_new oid) returns boolean language sql stable as $same$
  select case when exists (select from pg_proc where oid = p_old) then (
      select (o.prokind, o.prorettype, o.proretset, o.proargnames, o.proallargtypes, o.proargmodes)
             is not distinct from (n.prokind, n.prorettype, n.proretset, n.proargnames, n.proallargtypes, n.proargmodes)
             and n.pronargdefaults >= o.pronargdefaults
      from pg_proc as o, pg_proc as n where o.oid = p_old and n.oid = p_new)
    else not exists (
      select attnum, attname, atttypid, atttypmod from pg_attribute where attrelid = p_old and attnum > 0
      except select attnum, attname, atttypid, atttypmod from pg_attribute where attrelid = p_new) end
$same$;
