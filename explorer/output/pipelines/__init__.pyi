from .junit import junit_document as junit_document
