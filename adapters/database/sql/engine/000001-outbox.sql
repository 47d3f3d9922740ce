-- The transaction outbox (adapters/chain/outbox.ts).

-- One row a signer: its lock serialises the reservation of nonces.
create table engine.tx_signer (
  chain_id bigint not null check (chain_id > 0),
  address text not null check (address ~ '^0x[0-9a-f]{40}$'),
  primary key (chain_id, address)
);

-- One row an intent. Not the layer but the chain owns nonces: two layers may be one chain.
create table engine.tx_outbox (
  key text primary key check (length(key) between 1 and 256),
  -- keccak-256 over chain, target and data: one key is one intent.
  intent_hash text not null check (intent_hash ~ '^0x[0-9a-f]{64}$'),
  -- Whose confirmations count.
  layer text not null,
  chain_id bigint not null,
  signer text not null,
  nonce bigint not null check (nonce >= 0),
  state text not null default 'signed'
    check (state in ('signed', 'broadcast', 'final', 'reverted')),
  -- Head of the chain when the nonce was reserved: the transaction is in no earlier block.
  from_block bigint not null,
  -- Where it is final; null before.
  block_number bigint,
  -- Decoded contract error of a reverted transaction.
  revert jsonb,
  created_at timestamptz not null default now(),
  foreign key (chain_id, signer) references engine.tx_signer (chain_id, address),
  unique (chain_id, signer, nonce),
  check ((state in ('final', 'reverted')) = (block_number is not null))
);

-- Every signed version of an intent: the first, and one a fee bump. Any of them settles the key.
create table engine.tx_attempt (
  hash text primary key check (hash ~ '^0x[0-9a-f]{64}$'),
  key text not null references engine.tx_outbox (key),
  number integer not null check (number >= 0),
  raw bytea not null,
  created_at timestamptz not null default now(),
  unique (key, number)
);
