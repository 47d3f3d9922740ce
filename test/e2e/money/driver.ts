/**
 * The driver: takes the drawn steps one after the other on the running network, and does not wait for
 * what they set off. Users ask, pay and leave while processes die and chains take blocks back.
 */
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import { scriptedAnswer } from '../../../bench/network/scripted-answer.js';
import type { WholeNetwork } from '../../../bench/network/whole-network.js';
import { LAYERS } from '../../../domain/config.js';
import type { SessionId } from '../../../domain/ids.js';
import type { PolicyInput } from '../../../domain/session.js';
import { SEALING_LEVELS } from '../../../domain/sealing.js';
import { ServiceChainHand } from '../../../bench/network/service-chain.js';
import { ask, handleAt, openSession, type Ask, type OpenedSession, type User } from './clients.js';
import { pick, type Step } from './draw.js';
import type { Tally } from './tally.js';

const PRICE_WEI = 10n ** 12n;
/** Small ones run out, the others do not. */
const DEPOSITS_WEI = [1_500n, 20_000n, 200_000n].map((tokens) => tokens * PRICE_WEI);
const TASK_SECONDS = 10;
const LONGEST_BURST = 5;
/** Requests under way at a time; with more, a step that asks does nothing. */
const MOST_PENDING = 30;
const CUT_MS = 3_000;
const SLOW_MS = 1_500;
/** Of chain time, which jumps; of real time, in which the engine settles what is left. */
export const EXIT_SECONDS = 60;
const EXIT_PATIENCE_MS = 20_000;

type Act = (step: Step) => Promise<void> | void;

export class Driver {
  readonly chain: ServiceChainHand;
  readonly sessions: OpenedSession[] = [];
  /** Every session that somebody tried to open. */
  readonly attempted = new Set<SessionId>();
  readonly #network: WholeNetwork;
  readonly #users: readonly User[];
  readonly #tally: Tally;
  readonly #pending = new Set<Promise<void>>();
  readonly #heals = new Set<() => void>();

  constructor(network: WholeNetwork, users: readonly User[], tally: Tally) {
    this.#network = network;
    this.#users = users;
    this.#tally = tally;
    this.chain = new ServiceChainHand(network);
  }

  /** Takes a step. What it asks of the network goes on in the background. */
  async take(step: Step): Promise<void> {
    try {
      await this.#acts[step.kind](step);
    } catch (error) {
      // Only steps that speak to the chain themselves end up here.
      this.#tally.failed(step.kind, error);
    }
  }

  /** Ends all faults that last. */
  heal(): void {
    for (const heal of this.#heals) heal();
  }

  /** Waits for everything that was asked for to have come to its end. */
  async settle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  get pending(): number {
    return this.#pending.size;
  }

  readonly #acts: Readonly<Record<Step['kind'], Act>> = {
    open: (step) => this.#open(step),
    ask: ({ dice }) => {
      const session = this.#session(dice[0]);
      const count = 1 + Math.floor(dice[1] * LONGEST_BURST);
      for (let i = 0; i < count && session !== undefined; i++) this.#ask(session, dice[2]);
    },
    'ask again': ({ dice }) => {
      const session = this.#session(dice[0]);
      const question = session && pick(session.asks, dice[1]);
      if (session && question) this.#put('ask again', session, question, this.#router(dice[2]));
    },
    close: ({ dice }) =>
      this.#end('close', dice, (session, router) => handleAt(session, router).close()),
    'cancel session': ({ dice }) =>
      this.#end('cancel session', dice, (session, router) => handleAt(session, router).cancel()),
    deposit: ({ dice }) => {
      const session = this.#session(dice[0]);
      const payer = pick(this.#users, dice[1]);
      if (session === undefined || payer === undefined) return;
      const amountWei = pick(DEPOSITS_WEI, dice[2]) ?? 0n;
      this.#pay('deposit', payer, () =>
        handleAt(session, this.#router(dice[3])).deposit({ signer: payer.wallet, amountWei }),
      );
    },
    withdraw: ({ dice }) => {
      const session = this.#session(dice[0]);
      if (session === undefined) return;
      const handle = handleAt(session, this.#router(dice[1]));
      this.#launch('withdraw', async () => {
        const { budget } = await handle.view();
        // Now and then more than there is, which must be refused.
        const share = BigInt(1 + Math.floor(dice[2] * 120));
        const amountWei = (BigInt(budget.freeWei) * share) / 100n;
        if (amountWei === 0n) return;
        await handle.withdraw({ signer: session.owner.wallet, amountWei });
      });
    },
    'change policy': ({ dice }) => {
      const session = this.#session(dice[0]);
      if (session === undefined) return;
      const policy = { taskSeconds: TASK_SECONDS + Math.floor(dice[1] * 5) };
      this.#launch('change policy', async () => {
        const handle = handleAt(session, this.#router(dice[2]));
        await handle.changePolicy({ signer: session.owner.wallet, policy });
      });
    },
    'cancel task': ({ dice }) => {
      const session = this.#session(dice[0]);
      if (session === undefined) return;
      const question = this.#ask(session, dice[1]);
      this.#launch('cancel task', async () => {
        const taskId = await taskIdOf(session.id, question.key);
        const { outcome } = await handleAt(session, this.#router(dice[2])).cancelTask(taskId);
        this.#tally.count(`cancel task: ended ${outcome}`);
      });
    },
    'deposit on chain': ({ dice }) => {
      const session = this.#session(dice[0]);
      if (session === undefined) return;
      const { owner } = session;
      this.#pay('deposit on chain', owner, async () => {
        await this.chain.deposit(owner.wallet, session.id, DEPOSITS_WEI[1] ?? 0n);
        await handleAt(session, this.#router(dice[1])).syncDeposit();
      });
    },
    'request exit': ({ dice }) => {
      const session = this.#session(dice[0]);
      if (session === undefined) return;
      session.isEnding = true;
      session.exitingSinceMs = Date.now();
      this.#launch('request exit', () => this.chain.requestExit(session.owner.wallet, session.id));
    },
    exit: async ({ dice }) => {
      const session = pick(
        this.sessions.filter((s) => isPast(s.exitingSinceMs)),
        dice[0],
      );
      if (session === undefined) return;
      await this.chain.jump(EXIT_SECONDS + 1);
      this.#launch('exit', () => this.chain.exit(session.owner.wallet, session.id));
    },
    'earner withdraws': ({ dice }) => {
      const miner = pick(this.#network.miners, dice[0]);
      if (miner === undefined) return;
      this.#launch('earner withdraws', () => this.chain.withdrawEarnings(miner.wallet));
    },
    'kill worker': ({ dice }) => this.#kill(/^worker-/, dice[0]),
    'kill router': ({ dice }) => this.#kill(/^router-/, dice[0]),
    'kill oracle': ({ dice }) => this.#kill(/^oracle-/, dice[0]),
    'kill miners': ({ dice }) => this.#kill(/^miners-/, dice[0]),
    'kill temporal': ({ dice }) => this.#kill(/^temporal$/, dice[0]),
    'kill ipfs': ({ dice }) => this.#kill(/^ipfs$/, dice[0]),
    'kill postgres': ({ dice }) => this.#kill(/^postgres$/, dice[0]),
    'kill chain': ({ dice }) => this.#kill(/^chain-service$/, dice[0]),
    reorganise: async ({ dice }) => {
      const blocks = await this.chain.reorganise(1 + Math.floor(dice[0] * 3), dice[1] < 0.5);
      this.#tally.count(`reorganised by ${blocks} blocks`);
    },
    'cut rpc': ({ dice }) => this.#bendLine(dice, null, CUT_MS),
    'slow rpc': ({ dice }) => this.#bendLine(dice, Math.floor(dice[1] * SLOW_MS), CUT_MS),
    'jump clock': ({ dice }) => this.chain.jump(1 + Math.floor(dice[0] * 30)),
  };

  #open({ dice }: Step): void {
    const user = pick(
      this.#users.filter((u) => !u.isPaying),
      dice[0],
    );
    if (user === undefined || this.#isBusy()) return;
    const policy: PolicyInput = {
      model: this.#network.config.models[0]?.name ?? '',
      priceCeilingWei: PRICE_WEI.toString(),
      level: pick(SEALING_LEVELS.slice(0, 3), dice[1]) ?? 'open',
      redundancy: dice[2] < 0.25 ? 1 : 3,
      taskSeconds: TASK_SECONDS,
      lifeSeconds: dice[3] < 0.1 ? 60 : 3_600,
    };
    const depositWei = pick(DEPOSITS_WEI, (dice[3] * 10) % 1) ?? 0n;
    const router = this.#router((dice[0] * 100) % 1);
    this.#pay('open', user, async () => {
      const terms = { policy, depositWei, router };
      this.sessions.push(await openSession(user, terms, (id) => this.attempted.add(id)));
    });
  }

  /** Sets off what needs the payer's next permit, unless another such thing is under way. */
  #pay(what: string, payer: User, work: () => Promise<unknown>): void {
    if (payer.isPaying) return;
    payer.isPaying = true;
    this.#launch(what, async () => {
      try {
        await work();
      } finally {
        payer.isPaying = false;
      }
    });
  }

  #ask(session: OpenedSession, die: number): Ask {
    const number = session.asks.length + 1;
    const prompt = `Question ${number} of session ${session.id.slice(0, 6)}`;
    const question: Ask = { key: `question-${number}`, prompt, acknowledged: null };
    session.asks.push(question);
    this.#put('ask', session, question, this.#router(die));
    return question;
  }

  #put(what: string, session: OpenedSession, question: Ask, router: number): void {
    if (this.#isBusy()) return;
    this.#launch(what, async () => {
      const { taskId, outcome, text } = await ask(session, question, router);
      this.#tally.count(`${what}: answered ${outcome}`);
      const id = `${session.id} ${question.key}`;
      if (outcome === 'completed' && session.redundancy > 1) {
        if (text !== scriptedAnswer(question.prompt)) this.#tally.find(`${id}: a wrong answer`);
      }
      const before = question.acknowledged;
      question.acknowledged ??= { taskId, outcome, text };
      if (before === null) return;
      if (before.taskId !== taskId) this.#tally.find(`${id}: two tasks`);
      if (before.outcome !== outcome) {
        this.#tally.find(`${id}: was ${before.outcome}, is ${outcome}`);
      } else if (outcome === 'completed' && before.text !== text) {
        this.#tally.find(`${id}: two answers`);
      }
    });
  }

  #end(
    what: string,
    dice: Step['dice'],
    end: (session: OpenedSession, router: number) => Promise<unknown>,
  ): void {
    const session = this.#session(dice[0]);
    if (session === undefined) return;
    session.isEnding = true;
    this.#launch(what, async () => void (await end(session, this.#router(dice[1]))));
  }

  #kill(names: RegExp, die: number): void {
    const all = this.#network.processes.filter((process) => names.test(process));
    const name = pick(all, die);
    const pid = name === undefined ? undefined : this.#network.supervisor.pid(name);
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    this.#tally.count(`killed ${name}`);
  }

  #bendLine(dice: Step['dice'], delayMs: number | null, ms: number): void {
    const layer = dice[2] < 0.8 ? 'service' : (pick(LAYERS, dice[3]) ?? 'service');
    const line = this.#network.lines[layer];
    line.setDelay(delayMs);
    const heal = (): void => {
      clearTimeout(timer);
      this.#heals.delete(heal);
      line.setDelay(0);
    };
    const timer = setTimeout(heal, ms);
    this.#heals.add(heal);
  }

  #launch(what: string, work: () => Promise<void>): void {
    const run = work().then(
      () => this.#tally.count(`${what}: done`),
      (error: unknown) => this.#tally.failed(what, error),
    );
    this.#pending.add(run);
    void run.finally(() => this.#pending.delete(run));
  }

  #session(die: number): OpenedSession | undefined {
    return pick(
      this.sessions.filter((session) => !session.isEnding),
      die,
    );
  }

  #router(die: number): number {
    return Math.floor(die * this.#network.routerUrls.length);
  }

  #isBusy(): boolean {
    return this.#pending.size >= MOST_PENDING;
  }
}

function isPast(sinceMs: number | null): boolean {
  return sinceMs !== null && Date.now() - sinceMs > EXIT_PATIENCE_MS;
}
