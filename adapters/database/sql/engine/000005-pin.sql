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
