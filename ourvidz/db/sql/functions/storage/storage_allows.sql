-- Decides what policies may allow on a user's object, by kind of bucket: the whole rule. In private buckets that are not ours it is up to
-- the project what owners do, and how they share a bucket by adding to it.
create or replace function ourvidz.storage_allows(p_holds text, p_caller text, p_verb text) returns boolean
language sql immutable
as $$
  select case p_holds
    when 'assets' then p_verb = 'select'
    when 'sealed' then false
    when 'bucket' then p_verb = 'select'
    when 'theirs' then p_caller = 'its owner' or p_caller = 'another user' and p_verb = 'insert'
    when 'undelivered' then false
    when 'references' then p_caller = 'its owner' and p_verb in ('select', 'insert', 'delete')
    else p_caller = 'its owner' and p_verb in ('select', 'delete') end
$$;
