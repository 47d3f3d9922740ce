/** A sink: a user's own store, seen by exports. One implementation a kind lies beside this file. */
import type { ExportDigest, ExportRows, RowCounts, RowMark } from '../../../domain/export.js';
import type { SessionId } from '../../../domain/ids.js';
import type { DatabaseAccess } from '../user/access.js';

/** Where the rows of sessions go. Every method:
 * @throws SINK_UNREACHABLE — it is away for now.
 * @throws SINK_CREDENTIALS, SINK_UNTRUSTED — somebody has to mend a secret, a right or a certificate.
 * @throws EXPORT_REFUSED, SINK_GONE, ADDRESS_REFUSED — for good. */
export interface Sink {
  /** Creates or upgrades what rows need there; called before the first batch of an export. */
  prepare(): Promise<void>;
  /** Writes a batch of one session. A database takes all of it or none; a webhook takes pieces, in order.
   * Rows that are there are brought up to date by their keys: a batch may be written any number of
   * times. */
  write(sessionId: SessionId, rows: ExportRows): Promise<void>;
  /** Lists what stands there of a session, in the order of tables and, byte by byte, of keys. */
  readMarks(sessionId: SessionId): AsyncIterable<RowMark>;
  /** Deletes a session, in one transaction; payloads that other sessions refer to stay.
   * @returns what stood there before, and how many rows are gone. */
  remove(
    sessionId: SessionId,
  ): Promise<{ readonly before: ExportDigest; readonly rows: RowCounts }>;
  close(): Promise<void>;
}

/** What a sink's connections are made with. */
export interface SinkAccess extends DatabaseAccess {
  readonly schema: string;
}
