/** `cortensor session ask`: one prompt, streamed. */
import { text as readAll } from 'node:stream/consumers';
import { EngineError } from '../../../domain/errors.js';
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { IDENTITY_OPTION } from '../../keys.js';
import { openAsReader, openClient, ROUTER_OPTIONS, SAVED_ABOUT } from '../../router-access.js';

export const sessionAsk = defineCommand({
  name: 'session ask',
  about: `Asks one question and streams the answer to stdout. What streams is not judged yet: where the network
agrees on another answer, that one follows. PROMPT is the text, or - for stdin.
${SAVED_ABOUT}`,
  args: ['SESSION', 'PROMPT'],
  options: {
    identity: { value: 'REF', about: `${IDENTITY_OPTION.identity.about}: at sealed levels` },
    source: {
      value: 'NAME',
      about: 'a source that the answer is to rely on, at levels open and link; may be repeated',
      isMultiple: true,
    },
    'max-tokens': { value: 'N', about: 'longest answer; default: 512' },
    'idempotency-key': {
      value: 'TEXT',
      about: 'the same key is the same task, billed once; default: a random one',
    },
    ...ROUTER_OPTIONS,
  },
  failure: 'no agreement, or no answer',
  async run({ args: [session, prompt], values, isJson }) {
    const maxTokens = tokensOf(values['max-tokens']);
    const content = prompt === '-' ? await readAll(process.stdin) : prompt;
    if (content.trim() === '') throw new EngineError('PROMPT_INVALID', { expected: 'a text' });
    const handle = await openAsReader(await openClient(values), session);
    const { 'idempotency-key': idempotencyKey, source: sources } = values;
    const answer = handle.ask(
      { messages: [{ role: 'user', content }], ...(maxTokens !== null && { maxTokens }) },
      {
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        ...(sources.length === 0 ? {} : { context: { sources } }),
      },
    );
    let streamed = '';
    for await (const delta of answer) {
      streamed += delta;
      if (!isJson) process.stdout.write(delta);
    }
    const { text, citations = [], ...facts } = await answer.done;
    const { taskId, outcome, verdictAgreed, requestCid, resultCids, usage } = facts;
    const isOther = verdictAgreed && text !== streamed;
    const verdict = verdictAgreed ? 'agreed' : `no agreement, ${outcome}`;
    new Display().line(`\n${verdict} · ${resultCids.length} miners · task ${taskId}`);
    return {
      lines: [
        ...(isOther ? ['The network agreed on another answer:', text] : []),
        ...citations.map(({ n, source, title, cid }) => `[${n}] ${source}: ${title} ${cid}`),
      ],
      json: { taskId, text, outcome, verdictAgreed, usage, requestCid, resultCids, citations },
      isHeld: verdictAgreed,
    };
  },
});

function tokensOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new EngineError('USAGE', { option: '--max-tokens', expected: 'a whole number above 0' });
}
