"""Operations, one a file: convolution, transposed convolution, resize, pooling, batch norm."""
