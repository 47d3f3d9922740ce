/** Every command of `cortensor`, by name and group. Each is loaded only when it is asked for. */
import type { Commands } from './command.js';

export const COMMANDS: Commands = {
  up: {
    summary: 'start the whole network here and run the main job',
    load: async () => (await import('./commands/up.js')).up,
  },
  worker: {
    summary: 'run Temporal workers for all task queues, or those named',
    load: async () => (await import('./commands/worker.js')).worker,
  },
  router: {
    summary: 'run a router: HTTP front and hub of the miners',
    load: async () => (await import('./commands/router.js')).router,
  },
  miner: {
    summary: 'run a miner that serves a model to a router',
    load: async () => (await import('./commands/miner.js')).miner,
  },
  oracle: {
    summary: 'run an oracle that checks evidence and signs',
    load: async () => (await import('./commands/oracle.js')).oracle,
  },
  doctor: {
    summary: 'say for every server whether it was found, where, and what to do if not',
    load: async () => (await import('./commands/doctor.js')).doctor,
  },
  session: {
    summary: "an owner's session: open it, ask, pay in and out, end it",
    commands: {
      exit: {
        summary: 'take the money back by contract alone, with the engine gone',
        load: async () => (await import('./commands/session/exit.js')).sessionExit,
      },
    },
  },
  earnings: {
    summary: 'what a miner, or the treasury, has earned',
    commands: {
      show: {
        summary: 'say what is there to be withdrawn',
        load: async () => (await import('./commands/earnings/show.js')).earningsShow,
      },
      withdraw: {
        summary: 'withdraw all of it',
        load: async () => (await import('./commands/earnings/withdraw.js')).earningsWithdraw,
      },
    },
  },
};
