/**
 * Temporal's test server, which skips time. A Java program from Maven, behind a script of two lines
 * that `TestWorkflowEnvironment.createTimeSkipping` takes as an existing path.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.js';
import { checkDigest } from './download.js';
import { tellProgress } from './progress.js';
import type { Artefact, Kitchen } from './types.js';

const VERSION = '1.31.0';
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';

const POM = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>cortensor</groupId><artifactId>test-server</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.temporal</groupId>
      <artifactId>temporal-test-server</artifactId>
      <version>${VERSION}</version>
    </dependency>
  </dependencies>
</project>
`;

const SCRIPT = `#!/bin/sh
exec java -cp "$(dirname "$0")/lib/*" io.temporal.testserver.TestServer "$@"
`;

/** The time-skipping test server; needs Java 11 or later to run. Used by tests only. */
export const temporalTestServer: Artefact = {
  name: 'temporal-test-server',
  version: VERSION,
  file: 'temporal-test-server',
  variable: 'CORTENSOR_TEMPORAL_TEST_SERVER',
  command: 'temporal-test-server',
  check: async () => {
    const out = await run('java', ['-version'], { timeoutMs: 20_000 });
    const [, major] = /version "(\d+)/.exec(out) ?? [];
    if (Number(major) < 11) throw new Error(`java is ${major}, needed is 11 or later`);
    return VERSION;
  },
  recipes: [{ step: 'maven', make: copyJars }],
  remedy: 'install Java 11 or later and Maven',
};

async function copyJars(folder: string, kitchen: Kitchen): Promise<void> {
  const pom = join(folder, 'pom.xml');
  writeFileSync(pom, POM);
  const stop = tellProgress(kitchen, (seconds) => ({
    message: `fetching the test server's libraries, ${seconds} s`,
  }));
  try {
    const lib = join(folder, 'lib');
    const args = [
      '-B',
      '-q',
      '-f',
      pom,
      COPY,
      `-DoutputDirectory=${lib}`,
      '-DincludeScope=runtime',
    ];
    await run('mvn', args, { timeoutMs: 10 * 60_000 });
    await checkDigest(
      join(lib, `temporal-test-server-${VERSION}.jar`),
      'sha256:c33eafa1f50af5df595f37a3c2ad8d6858a9e510034fd6c92d5bcff88cbfdcaa',
    );
  } finally {
    stop();
  }
  const script = join(folder, 'temporal-test-server');
  writeFileSync(script, SCRIPT);
  chmodSync(script, 0o755);
}
