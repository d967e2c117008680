import js from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

/** One that has to be an interface merges with one of another module. */
const NO_INTERFACE = {
  selector: 'TSInterfaceDeclaration:not(TSModuleBlock > TSInterfaceDeclaration)',
  message: 'Use a type; an interface only where it merges with one of another module.',
}
const NO_ENVIRONMENT = {
  selector: "MemberExpression[object.name='process'][property.name='env']",
  message: 'src/config/config.ts is the only reader of process.env in the server.',
}
/** The names of its keys, and what lies behind its classes, change without notice. */
const NO_BULLMQ_INTERNALS = {
  selector: 'MemberExpression[property.name=/^(toKey|keys|client|backend|getBackend)$/]',
  message: "Use BullMQ's documented methods: its keys and its backend are private.",
}

export default defineConfig(
  globalIgnores(['coverage', 'data', 'dist', 'node_modules', 'src/client/schema.ts']),
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // NO_INTERFACE says it, with the one exception that there is.
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Ports and parts are made by factories and use no `this`.
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      'no-console': 'error',
      'no-restricted-syntax': ['error', NO_INTERFACE, NO_ENVIRONMENT],
    },
  },
  {
    files: ['src/queue/bullmq/**'],
    rules: { 'no-restricted-syntax': ['error', NO_INTERFACE, NO_ENVIRONMENT, NO_BULLMQ_INTERNALS] },
  },
  {
    files: ['src/config/config.ts', 'src/client/cli.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', NO_INTERFACE] },
  },
  {
    files: ['test/**', 'bench/**'],
    rules: {
      // A double that keeps an asynchronous contract has nothing to await.
      '@typescript-eslint/require-await': 'off',
      // A test fails where an assertion is wrong; that is its purpose.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Asymmetric matchers (`expect.any`) are typed `any`.
      '@typescript-eslint/no-unsafe-assignment': 'off',
    },
  },
)
