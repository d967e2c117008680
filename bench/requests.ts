import type { Part } from './part.ts'
import { burst } from './requests/burst.ts'
import { gets } from './requests/gets.ts'
import { idle } from './requests/idle.ts'
import { posts } from './requests/posts.ts'
import { sameBytes } from './requests/same-bytes.ts'
import { shares } from './requests/shares.ts'

/** What the server costs beside the framework it is made of, and beside the design it replaced. */
export const requests: Part = { name: 'requests', sections: [gets, posts, burst, sameBytes, shares, idle] }
