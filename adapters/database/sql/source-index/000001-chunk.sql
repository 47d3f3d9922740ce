-- Chunks of users' sources (adapters/database/source-index.ts): where they are, their vectors and
-- their blinded words. Texts are on IPFS.
create table cortensor_index.chunk (
  id bigint generated always as identity primary key,
  owner text not null,
  source text not null,
  -- Of what the chunk says, under the source's key: equal text is one chunk.
  digest text not null check (digest ~ '^[0-9a-f]{64}$'),
  -- Of the source, when the chunk was seen last.
  revision integer not null,
  cid text not null,
  title text not null,
  page integer,
  text_offset integer not null,
  -- Words, those that come often included.
  length integer not null,
  -- Of unit length.
  vector real[] not null,
  unique (owner, source, digest)
);
create index chunk_cid on cortensor_index.chunk (cid);

create table cortensor_index.term (
  owner text not null,
  source text not null,
  term text not null check (term ~ '^[0-9a-f]{24}$'),
  chunk_id bigint not null references cortensor_index.chunk (id) on delete cascade,
  frequency integer not null check (frequency > 0),
  primary key (owner, source, term, chunk_id)
);
create index term_chunk on cortensor_index.term (chunk_id);

-- Cosine similarity of unit vectors, where there is no pgvector.
create function cortensor_index.similarity(a real[], b real[]) returns double precision
  language sql immutable parallel safe
  as 'select sum(x::double precision * y) from unnest(a, b) as pair(x, y)';
