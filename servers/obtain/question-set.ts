/** A public question set to measure retrieval with: a bank's knowledge base and the tasks of τ²-bench,
 * each with the documents that it needs (MIT licence). */
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Artefact } from './types.js';
import { wheelRecipe } from './wheel.js';

const MEMBERS = 'inspect_evals/tau2/data/domains/banking_knowledge';
const WHEEL = { wheel: 'inspect-evals', version: '0.26.0' } as const;

/** 698 documents, gzipped; 97 questions in `tasks.json` beside the file. */
export const questionSet: Artefact = {
  name: 'question-set',
  version: 'inspect-evals-0.26.0',
  file: 'documents.json.gz',
  variable: 'CORTENSOR_QUESTION_SET',
  check: async (path) => {
    const bytes = [path, join(dirname(path), 'tasks.json')].map((file) => statSync(file).size);
    return `${bytes.reduce((sum, size) => sum + size, 0)} bytes`;
  },
  recipes: [
    wheelRecipe([
      {
        ...WHEEL,
        member: `${MEMBERS}/documents.json.gz`,
        file: 'documents.json.gz',
        digest: 'sha256:1f973db8dc22db49c0ad06533a6e33458a27291925f107d48a95bd6fb7a30f00',
      },
      {
        ...WHEEL,
        member: `${MEMBERS}/tasks.json`,
        file: 'tasks.json',
        digest: 'sha256:3c6e2123a7290c4a3d94a234f3adba1cf4a9883b1323291bfd29ae14f65199ac',
      },
    ]),
  ],
  remedy: 'install Python 3 with pip',
};
