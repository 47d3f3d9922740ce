/**
 * Numbers for the events of a text stream that mean the same on every router: how much of the text
 * is out, and a check of it. A stream of another router, cut into other pieces by another miner, goes
 * on after such a number in the middle of a piece, as long as the text up to there is the same.
 */
import { EngineError } from '../../domain/errors.js';
import type { TranscriptEvent } from './transcript.js';

/** A number is a length times this, plus a check of the text up to there. */
const CHECKS = 2 ** 24;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** An event with its number in `index`. */
export interface PositionedEvent {
  readonly event: TranscriptEvent;
  /** The client has it from before; only writers that count need it. */
  readonly isKnown: boolean;
}

/** Numbers events by what is out after them, and marks those that the client has.
 * @param from - one more than the number of the last event that the client has; 0: it has none.
 * @throws MINER_FAILED — the text is not the one that the number is of. */
export async function* positioned(
  events: AsyncIterable<TranscriptEvent | null>,
  from: number,
): AsyncGenerator<PositionedEvent | null> {
  const had = from - 1;
  const hadLength = had < 0 ? -1 : Math.floor(had / CHECKS);
  const out = new Checked();
  for await (const event of events) {
    if (event === null) yield null;
    else if (event.type === 'start') {
      yield { event: { ...event, index: out.number }, isKnown: had >= 0 };
    } else if (event.type === 'end') {
      // Counted as one more character: an end that was delivered has a number of its own.
      if (hadLength > out.length + 1) throw isAnother();
      out.take('\n');
      if (hadLength === out.length && out.number !== had) throw isAnother();
      yield { event: { ...event, index: out.number }, isKnown: had === out.number };
    } else {
      for (const [part, isKnown] of cut(event, hadLength - out.length)) {
        out.take(weighed(part));
        if (out.length === hadLength && out.number !== had) throw isAnother();
        yield { event: { ...part, index: out.number }, isKnown };
      }
    }
  }
}

type Piece = Exclude<TranscriptEvent, { type: 'start' | 'end' }>;

/** What counts of a piece of an answer. */
function weighed(piece: Piece): string {
  return piece.type === 'delta' ? piece.text : headOf(piece) + piece.arguments;
}

/** Names the tool call that begins here. */
function headOf({ call, name }: Extract<Piece, { type: 'tool-call' }>): string {
  return name === undefined ? '' : `\n${call}:${name}\n`;
}

/** Parts a piece into what the client has and what it has not.
 * @param missing - characters of what the client has that are not out yet. */
function cut(piece: Piece, missing: number): readonly (readonly [Piece, isKnown: boolean])[] {
  if (missing <= 0) return [[piece, false]];
  if (missing >= weighed(piece).length) return [[piece, true]];
  if (piece.type === 'delta') {
    const { text } = piece;
    return [
      [{ ...piece, text: text.slice(0, missing) }, true],
      [{ ...piece, text: text.slice(missing) }, false],
    ];
  }
  const { index, type, call, arguments: given } = piece;
  const at = Math.max(0, missing - headOf(piece).length);
  return [
    [{ ...piece, arguments: given.slice(0, at) }, true],
    [{ index, type, call, arguments: given.slice(at) }, false],
  ];
}

/** What is out so far: its length, and a check over it (FNV-1a, folded to 24 bits). */
class Checked {
  length = 0;
  #hash = FNV_OFFSET;

  take(text: string): void {
    let hash = this.#hash;
    for (let i = 0; i < text.length; i++) {
      hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
    }
    this.#hash = hash;
    this.length += text.length;
  }

  get number(): number {
    return this.length * CHECKS + (((this.#hash >>> 24) ^ this.#hash) & (CHECKS - 1));
  }
}

function isAnother(): EngineError {
  return new EngineError('MINER_FAILED', {
    reason: 'another answer was agreed on; ask again with the same Idempotency-Key',
  });
}
