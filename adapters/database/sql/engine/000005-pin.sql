-- Who needs which block on the deployment's IPFS (adapters/database/pin-ledger.ts). A block is unpinned
-- when its last row without a host goes, whoever wrote it.
create table engine.pin (
  cid text collate "C" not null check (length(cid) between 1 and 128),
  -- A session's id, or the part of the engine that needs it.
  holder text collate "C" not null check (length(holder) between 1 and 128),
  -- A keyring: its holder's alone, so that nobody can keep, or take away, another session's keys.
  is_key boolean not null,
  -- The user's own store that holds it by now; null while our nodes do.
  host text,
  primary key (cid, holder)
);

-- Notes needs, all in one round trip: who pins waits for it. The locks are taken in one order, so that
-- two calls do not wait for each other, and before the insert looks, which sees what was committed by then.
-- Answers with what is noted: all but bytes that are another holder's keys.
create function engine.hold_pins(cids text[], holders text[])
returns table (cid text, holder text) language plpgsql as $$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock_shared(hashtextextended(cid, 0))
  from (select distinct cid from unnest(cids) as t (cid) order by 1) as wanted;
  return query
    insert into engine.pin (cid, holder, is_key)
    select t.cid, t.holder, false from unnest(cids, holders) as t (cid, holder)
    where not exists (
      select from engine.pin
      where pin.cid = t.cid and pin.holder <> t.holder and pin.is_key)
    on conflict (cid, holder) do update set host = null
    returning pin.cid, pin.holder;
end $$;
