-- Users' own sources (adapters/database/source-catalogue.ts): what is declared, and how far its
-- ingestion has come.
create table cortensor_source.source (
  owner text not null check (length(owner) between 1 and 256),
  name text not null check (name ~ '^[a-z0-9][a-z0-9-]{0,63}$'),
  -- Grows with each change; an ingestion is of one of them.
  revision integer not null default 1 check (revision > 0),
  level text not null check (level in ('open', 'link')),
  spec jsonb not null,
  -- Configured database that holds the chunks; null: this one.
  index_name text,
  -- age file of the identity that all blocks of the source are sealed to; null at level open, and
  -- when the source is removed: then nothing opens them any more.
  key_file bytea,
  is_removed boolean not null default false,
  state text not null default 'waiting'
    check (state in ('waiting', 'ingesting', 'ready', 'failed', 'removed')),
  counts jsonb not null default '{"items":0,"added":0,"unchanged":0,"removed":0}',
  failure text,
  failure_text text,
  receipt jsonb,
  changed_at timestamptz not null default now(),
  primary key (owner, name)
);
