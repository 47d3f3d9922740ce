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
    commands: {
      claims: {
        summary: 'say which of its tasks were never settled',
        load: async () => (await import('./commands/miner/claims.js')).minerClaims,
      },
      claim: {
        summary: 'settle them itself, with routers and workers gone',
        load: async () => (await import('./commands/miner/claim.js')).minerClaim,
      },
    },
  },
  oracle: {
    summary: 'run an oracle that checks evidence and signs',
    load: async () => (await import('./commands/oracle.js')).oracle,
  },
  codec: {
    summary: "let the Temporal UI read what is encrypted, for who holds the codec's key",
    load: async () => (await import('./commands/codec.js')).codec,
  },
  keys: {
    summary: 'age identities and data keys: draw, show, rotate',
    commands: {
      new: {
        summary: 'draw an age identity into a new file',
        load: async () => (await import('./commands/keys.js')).keysNew,
      },
      show: {
        summary: 'print the recipients of an identity file',
        load: async () => (await import('./commands/keys.js')).keysShow,
      },
      rotate: {
        summary: 'add a new identity to a file; the older ones still open',
        load: async () => (await import('./commands/keys.js')).keysRotate,
      },
      'rotate-codec': {
        summary: 'add a data key for what Temporal stores',
        load: async () => (await import('./commands/keys.js')).keysRotateCodec,
      },
    },
  },
  doctor: {
    summary: 'say for every server whether it was found, where, and what to do if not',
    load: async () => (await import('./commands/doctor.js')).doctor,
  },
  deploy: {
    summary: 'put the contracts of a layer on its chain',
    load: async () => (await import('./commands/deploy.js')).deploy,
  },
  onboard: {
    summary: 'join the network',
    commands: {
      miner: {
        summary: 'register a miner, stake for it and have it assessed',
        load: async () => (await import('./commands/onboard/miner.js')).onboardMinerCommand,
      },
      user: {
        summary: 'register a user and its sealing level',
        load: async () => (await import('./commands/onboard/user.js')).onboardUserCommand,
      },
    },
  },
  schedule: {
    summary: 'the health epochs: when they run, and whether',
    commands: {
      show: {
        summary: 'say when they run',
        load: async () => (await import('./commands/schedule.js')).scheduleShow,
      },
      update: {
        summary: 'make the schedule, or bring it up to date',
        load: async () => (await import('./commands/schedule.js')).scheduleUpdate,
      },
      pause: {
        summary: 'start none until resumed',
        load: async () => (await import('./commands/schedule.js')).schedulePause,
      },
      resume: {
        summary: 'start them again',
        load: async () => (await import('./commands/schedule.js')).scheduleResume,
      },
    },
  },
  settlement: {
    summary: 'the workflow that settles tasks in batches',
    commands: {
      start: {
        summary: 'start it, where it does not run',
        load: async () => (await import('./commands/settlement.js')).settlementStart,
      },
      show: {
        summary: 'say whether it runs',
        load: async () => (await import('./commands/settlement.js')).settlementShow,
      },
    },
  },
  export: {
    summary: "a session in its user's own store",
    commands: {
      start: {
        summary: 'start an export, to its end or following the session',
        load: async () => (await import('./commands/export.js')).exportStart,
      },
      status: {
        summary: 'say how far it is, and what it waits for',
        load: async () => (await import('./commands/export.js')).exportStatus,
      },
      pause: {
        summary: 'let it rest',
        load: async () => (await import('./commands/export.js')).exportPause,
      },
      resume: {
        summary: 'let it go on',
        load: async () => (await import('./commands/export.js')).exportResume,
      },
      retry: {
        summary: 'try at once what it waits for',
        load: async () => (await import('./commands/export.js')).exportRetry,
      },
      stop: {
        summary: 'end it',
        load: async () => (await import('./commands/export.js')).exportStop,
      },
      verify: {
        summary: 'compare the sink with records and evidence',
        load: async () => (await import('./commands/export.js')).exportVerify,
      },
      remove: {
        summary: "delete the session's rows in the sink",
        load: async () => (await import('./commands/export.js')).exportRemove,
      },
    },
  },
  policy: {
    summary: "check a session's policy, say its hash and CID",
    load: async () => (await import('./commands/policy.js')).policy,
  },
  content: {
    summary: "files and sessions on IPFS, or in a user's own store",
    commands: {
      add: {
        summary: 'stream a file in, and say its CID',
        load: async () => (await import('./commands/content.js')).contentAdd,
      },
      get: {
        summary: 'read a file by its CID, block by block hashed',
        load: async () => (await import('./commands/content.js')).contentGet,
      },
      check: {
        summary: "follow a session's manifest to its last block",
        load: async () => (await import('./commands/content.js')).contentCheck,
      },
      export: {
        summary: 'write a session as a CAR file',
        load: async () => (await import('./commands/content.js')).contentExport,
      },
      import: {
        summary: 'read a CAR file into the store',
        load: async () => (await import('./commands/content.js')).contentImport,
      },
      repair: {
        summary: 'restore what one of several IPFS nodes has lost',
        load: async () => (await import('./commands/content.js')).contentRepair,
      },
    },
  },
  source: {
    summary: "documents and tables that a key's requests may draw on",
    commands: {
      add: {
        summary: 'upload a file to one',
        load: async () => (await import('./commands/source.js')).sourceAdd,
      },
      table: {
        summary: "declare one of a database's rows",
        load: async () => (await import('./commands/source.js')).sourceTable,
      },
      list: {
        summary: 'list them',
        load: async () => (await import('./commands/source.js')).sourceList,
      },
      show: {
        summary: 'say how far one is ingested',
        load: async () => (await import('./commands/source.js')).sourceShow,
      },
      search: {
        summary: 'find the passages that fit a question',
        load: async () => (await import('./commands/source.js')).sourceSearch,
      },
      remove: {
        summary: 'remove one, its key first',
        load: async () => (await import('./commands/source.js')).sourceRemove,
      },
    },
  },
  session: {
    summary: "an owner's session: open it, ask, pay in and out, end it",
    commands: {
      open: {
        summary: 'open one with a policy and a deposit',
        load: async () => (await import('./commands/session/open.js')).sessionOpen,
      },
      show: {
        summary: 'say its state, money and tasks',
        load: async () => (await import('./commands/session/show.js')).sessionShow,
      },
      ask: {
        summary: 'ask one question and stream the answer',
        load: async () => (await import('./commands/session/ask.js')).sessionAsk,
      },
      deposit: {
        summary: 'add to its deposit',
        load: async () => (await import('./commands/session/deposit.js')).sessionDeposit,
      },
      sync: {
        summary: 'let it know of deposits that were made on chain without it',
        load: async () => (await import('./commands/session/deposit.js')).sessionSync,
      },
      withdraw: {
        summary: 'take back what is free',
        load: async () => (await import('./commands/session/withdraw.js')).sessionWithdraw,
      },
      policy: {
        summary: 'change its policy',
        load: async () => (await import('./commands/session/policy.js')).sessionPolicy,
      },
      close: {
        summary: 'settle, close and refund the rest',
        load: async () => (await import('./commands/session/close.js')).sessionClose,
      },
      cancel: {
        summary: 'close at once; what has not begun is free',
        load: async () => (await import('./commands/session/cancel.js')).sessionCancel,
      },
      erase: {
        summary: 'take away what is left of one that is closed: keys, content, rows',
        load: async () => (await import('./commands/session/erase.js')).sessionErase,
      },
      exit: {
        summary: 'take the money back by contract alone, with the engine gone',
        load: async () => (await import('./commands/session/exit.js')).sessionExit,
      },
    },
  },
  task: {
    summary: 'one request of a session, and the proof that it was settled',
    commands: {
      list: {
        summary: "list a session's tasks",
        load: async () => (await import('./commands/task/list.js')).taskList,
      },
      show: {
        summary: 'say how far one is, or how it ended',
        load: async () => (await import('./commands/task/show.js')).taskShow,
      },
      cancel: {
        summary: 'end one whose answer has not begun, free',
        load: async () => (await import('./commands/task/cancel.js')).taskCancel,
      },
      prove: {
        summary: 'prove by the contract that it was settled, and as what',
        load: async () => (await import('./commands/task/prove.js')).taskProve,
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
